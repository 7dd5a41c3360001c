"""Compress with a model of your own: a Hugging Face folder (config.json, *.safetensors, tokenizer.json).

    python examples/own_model.py FOLDER

The first use converts it to the exact form, which stays in the cache. Without a FOLDER, a tiny model is made and
trained for a few seconds on the one text that it is then given.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import llmzip

TEXT = "The same text goes in and comes out, whatever the model thinks of it: naïve, 日本, 1234567890.\n".encode() * 4


def make_model(folder: Path) -> Path:
    """A Llama of two layers over single bytes that knows TEXT by heart."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|endoftext|>"])
    tokenizer.save(str(folder / "tokenizer.json"))
    start = tokenizer.token_to_id("<|endoftext|>")
    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        bos_token_id=start,
        eos_token_id=start,
    )
    torch.manual_seed(0)
    torch.set_num_threads(1)  # on a busy machine, threads of so small a model wait for each other more than they work
    model = LlamaForCausalLM(config)
    ids = torch.tensor([[start, *tokenizer.encode(TEXT.decode()).ids]])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    model.save_pretrained(folder)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--model", help="any other model of llmzip, instead of a folder")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as scratch:
        model = arguments.model or str(arguments.folder or make_model(Path(scratch)))
        small = llmzip.compress(TEXT, model)
        # The file names the model by its fingerprint, and the cache has it now. Elsewhere, give the folder again.
        back = llmzip.decompress(small)
        again = llmzip.decompress(small, model)
    same = back == again == TEXT
    info = llmzip.get_info(small)
    print(f"model {info.fingerprint or '-'}: {len(TEXT)} bytes -> {len(small)} bytes, {info.blocks[0].kind} block")
    print("back: the same" if same else "back: DIFFERENT")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
