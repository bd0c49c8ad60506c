"""Tiny models of random weights made by the Python package `transformers`, with the logits it computes.

    python golden.py make DIR     writes a folder for each model: config.json, model.safetensors, golden.json
    python golden.py check DIR    loads each folder below DIR and compares its logits with the golden.json in it

The fixtures beside this file come from torch 2.15.0 and transformers 5.24.0.
"""

import json
import os
import sys

import torch
import transformers

IDS = [[2, 5, 9, 30, 7, 3, 0], [2, 8, 3, 0, 0, 0, 0], [2, 11, 4, 6, 18, 21, 3]]
LENGTHS = [6, 3, 7]
SIZES = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24)


def logits(model, inputs):
    model.eval()
    with torch.no_grad():
        if "pixels" in inputs:
            side = model.config.image_size
            pixels = torch.tensor(inputs["pixels"]).reshape(-1, model.config.num_channels, side, side)
            return model(pixel_values=pixels).logits
        mask = [[int(k < n) for k in range(len(row))] for row, n in zip(inputs["ids"], inputs["lengths"])]
        return model(input_ids=torch.tensor(inputs["ids"]), attention_mask=torch.tensor(mask)).logits


def make(root):
    torch.manual_seed(0)
    bert = transformers.BertConfig(vocab_size=32, max_position_embeddings=16, num_labels=3, **SIZES)
    vit = transformers.ViTConfig(image_size=8, patch_size=4, num_channels=3, num_labels=3, **SIZES)
    rope = {"rope_type": "default", "rope_theta": 500.0}
    llama = transformers.LlamaConfig(
        vocab_size=32, max_position_embeddings=16, num_key_value_heads=2, rope_parameters=rope, **SIZES
    )
    text = {"ids": IDS, "lengths": LENGTHS}
    pixels = torch.randn(2 * 3 * 8 * 8, generator=torch.Generator().manual_seed(3))
    for name, model, inputs in [
        ("bert-sequence", transformers.BertForSequenceClassification(bert), text),
        ("bert-token", transformers.BertForTokenClassification(bert), text),
        ("vit", transformers.ViTForImageClassification(vit), {"pixels": pixels.tolist()}),
        ("llama", transformers.LlamaForCausalLM(llama), {"ids": [[1, 5, 9, 30, 7, 3, 12]], "lengths": [7]}),
    ]:
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                # Far from the small numbers a model starts with, so that every place matters.
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
        folder = os.path.join(root, name)
        model.save_pretrained(folder)
        golden = {"inputs": inputs, "logits": logits(model, inputs).flatten().tolist()}
        with open(os.path.join(folder, "golden.json"), "w") as file:
            json.dump(golden, file)


def check(root):
    for name in sorted(os.listdir(root)):
        folder = os.path.join(root, name)
        with open(os.path.join(folder, "config.json")) as file:
            kind = getattr(transformers, json.load(file)["architectures"][0])
        model, found = kind.from_pretrained(folder, output_loading_info=True)
        lost = [key for key, names in found.items() if names]
        assert not lost, (name, found)
        with open(os.path.join(folder, "golden.json")) as file:
            golden = json.load(file)
        said = logits(model, golden["inputs"]).flatten()
        error = (said - torch.tensor(golden["logits"])).abs().max().item()
        print(f"{name}: largest difference {error:.1e}")
        assert error < 1e-4, name


if __name__ == "__main__":
    {"make": make, "check": check}[sys.argv[1]](sys.argv[2])
