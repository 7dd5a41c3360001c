/* What Python may call. */
#ifndef LLMZIP_EXPORT_H
#define LLMZIP_EXPORT_H

#ifdef _WIN32 /* where one symbol is exported by name, no other is by itself */
#define EXPORT __declspec(dllexport)
#else
#define EXPORT __attribute__((visibility("default")))
#endif

#endif
