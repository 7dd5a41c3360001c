"""A byte-level BPE tokenizer with all 256 bytes, trained on a sample of the text (Sennrich et al. 2016; Radford et al.
2019).
"""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

START = "<|start|>"  # id 0; it spells nothing
# Words with the space before them, single digits, runs of signs, line ends with the indentation after them, spaces.
WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+|[\r\n]+[ \t]*|\s+(?!\S)|\s+"


def train(texts: Iterable[str], n_vocab: int) -> Tokenizer:
    """A tokenizer of exactly `n_vocab` ids, the start id among them, if the texts have so many merges in them."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=n_vocab,
        special_tokens=[START],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer
