"""A language model of half a megabyte, made by code: it writes nonsense, but by the real engine and in no time."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

CHARACTERS = "".join(map(chr, range(32, 127)))
VECTOR, LAYERS, HEADS, FEED_FORWARD, CONTEXT = 64, 2, 2, 128, 512
CONTROL = 3
BYTES = 256


def write_tiny_gguf(path: Path) -> Path:
    """A llama with random weights: the same file every time.

    It never ends a text itself, nor writes byte tokens: with those the server holds back incomplete characters and
    streams a thousand times slower. Channel 0 of every vector stays 1, and gives such tokens a low score.
    """
    writer = gguf.GGUFWriter(path, "llama")
    _describe(writer)
    _vocabulary(writer)
    _weights(writer)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _describe(writer: gguf.GGUFWriter) -> None:
    writer.add_name("tiny")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(VECTOR)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(VECTOR // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)


def _vocabulary(writer: gguf.GGUFWriter) -> None:
    spoken = ["\u2581" if character == " " else character for character in CHARACTERS]
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(BYTES)), *spoken]
    kinds = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    kinds += [gguf.TokenType.BYTE] * BYTES + [gguf.TokenType.NORMAL] * len(spoken)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * len(tokens))
    writer.add_token_types([int(kind) for kind in kinds])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant: ")


def _weights(writer: gguf.GGUFWriter) -> None:
    random = np.random.default_rng(7)
    vocabulary = CONTROL + BYTES + len(CHARACTERS)

    def matrix(rows: int, columns: int) -> np.ndarray:
        return random.normal(0, 0.1, (rows, columns)).astype(np.float32)

    embedding, output = matrix(vocabulary, VECTOR), matrix(vocabulary, VECTOR)
    embedding[:, 0] = 1
    output[: CONTROL + BYTES, 0] = -30
    writer.add_tensor("token_embd.weight", embedding)
    writer.add_tensor("output.weight", output)
    writer.add_tensor("output_norm.weight", np.ones(VECTOR, np.float32))
    for layer in range(LAYERS):
        name = f"blk.{layer}."
        for norm in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"{name}{norm}.weight", np.ones(VECTOR, np.float32))
        for part in ("attn_q", "attn_k", "attn_v"):
            writer.add_tensor(f"{name}{part}.weight", matrix(VECTOR, VECTOR))
        for part in ("ffn_gate", "ffn_up"):
            writer.add_tensor(f"{name}{part}.weight", matrix(FEED_FORWARD, VECTOR))
        for part, columns in (("attn_output", VECTOR), ("ffn_down", FEED_FORWARD)):
            constant = matrix(VECTOR, columns)
            constant[0] = 0
            writer.add_tensor(f"{name}{part}.weight", constant)
