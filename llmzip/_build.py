"""How the C library is built: with OpenMP, or, where the compiler has none (Apple's clang), without, for one thread."""

from setuptools import Extension
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError, LinkError

OPENMP = "-fopenmp"


class BuildKernels(build_ext):  # type: ignore[misc]
    """Tries with threads first."""

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except (CompileError, LinkError) as error:
            self.warn(f"building for one thread, without OpenMP: {error}")
            ext.extra_compile_args = [flag for flag in ext.extra_compile_args if flag != OPENMP]
            ext.extra_link_args = [flag for flag in ext.extra_link_args if flag != OPENMP]
            super().build_extension(ext)
