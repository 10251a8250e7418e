"""A sentence encoder from a local ONNX file: sentences become vectors of length one.

The file has the inputs ``input_ids`` and ``attention_mask``, the output ``embedding``, and its tokenizer (in the
JSON form of the ``tokenizers`` package) in the metadata under ``tokenizer``; ``bench/tools/export_encoder.py`` writes
one. Needs the extra ``signalbox-workflow[embeddings]``: onnxruntime and tokenizers.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]

_LONGEST: Final = 128
_BATCH: Final = 32
_UNKNOWN_SHARE: Final = 0.25
"""From this share of unknown tokens on a text is in a script that the encoder was not made for."""


class EncoderUnusable(Exception):
    """The file, or what is needed to run it, is not there or not right; the text says what to do."""


class Encoder:
    """Encodes sentences on one core. Safe to use from several threads."""

    def __init__(self, file: Path) -> None:
        """Load the file.

        Raises:
            EncoderUnusable: it cannot be loaded.
        """
        try:
            import onnxruntime  # noqa: PLC0415 - an extra
            from tokenizers import Tokenizer  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise EncoderUnusable(
                "An encoder needs onnxruntime and tokenizers: install signalbox-workflow[embeddings]."
            ) from error
        try:
            content = file.read_bytes()
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            self._session: Any = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
            tokenizer = Tokenizer.from_str(self._session.get_modelmeta().custom_metadata_map["tokenizer"])
        except OSError as error:
            raise EncoderUnusable(f"The encoder {file} cannot be read: {error.strerror}.") from error
        except Exception as error:
            raise EncoderUnusable(
                f"{file} is no encoder that bench/tools/export_encoder.py wrote: {error}"
            ) from error
        tokenizer.enable_truncation(_LONGEST)
        tokenizer.no_padding()
        self._tokenizer: Any = tokenizer
        self._unknown = getattr(tokenizer.model, "unk_token", None)
        self.identity = hashlib.sha256(content).hexdigest()
        """Of the file: a classifier works with the encoder that it was trained with, and no other."""

    @property
    def width(self) -> int:
        """Numbers of a vector."""
        return int(self.encode(["width"]).shape[1])

    def encode(self, texts: Sequence[str]) -> Floats:
        """A vector for each text; zeros for one in a script that the encoder does not know."""
        encoded = self._tokenizer.encode_batch(list(texts))
        order = sorted(range(len(texts)), key=lambda place: len(encoded[place].ids))
        vectors: list[Floats] = []
        for start in range(0, len(order), _BATCH):
            part = [encoded[place].ids for place in order[start : start + _BATCH]]
            # In order of length, so that little is padded.
            ids = np.zeros((len(part), max(map(len, part))), dtype=np.int64)
            mask = np.zeros_like(ids)
            for line, tokens in enumerate(part):
                ids[line, : len(tokens)] = tokens
                mask[line, : len(tokens)] = 1
            vectors.append(self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0])
        result: Floats = (
            np.empty_like(np.concatenate(vectors)) if vectors else np.empty((0, 0), dtype=np.float32)
        )
        if vectors:
            result[order] = np.concatenate(vectors)
        for place, one in enumerate(encoded):
            if one.tokens.count(self._unknown) >= _UNKNOWN_SHARE * len(one.tokens):
                result[place] = 0
        return result
