"""Makes tests/golden/llama: a small Llama checkpoint, its logits, and its losses over three training steps.

pip install torch transformers; python make_llama.py
"""

import json
from pathlib import Path

import torch
import transformers
from transformers import LlamaConfig, LlamaForCausalLM

OUT = Path(__file__).parent / "llama"
torch.manual_seed(3)
config = LlamaConfig(
    vocab_size=40,
    hidden_size=16,
    intermediate_size=24,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=32,
    rms_norm_eps=1e-6,
    rope_theta=500.0,
    initializer_range=0.3,
    attn_implementation="eager",
)
model = LlamaForCausalLM(config).float()
with torch.no_grad():
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.add_(0.2 * torch.randn_like(parameter))
model.save_pretrained(OUT, safe_serialization=True)
ids = torch.tensor([[3, 17, 39, 0, 8, 8, 21, 5, 30], [11, 2, 36, 9, 14, 1, 27, 33, 6]])
with torch.no_grad():
    logits = model(ids).logits
optimizer = torch.optim.AdamW(
    [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": 0.01},
        {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ],
    lr=1e-2,
)
losses = []
for _ in range(4):
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(ids[:, :-1]).logits.flatten(0, 1), ids[:, 1:].flatten())
    losses.append(loss.item())
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
(OUT / "expected.json").write_text(
    json.dumps(
        {
            "made_with": f"torch {torch.__version__}, transformers {transformers.__version__}",
            "ids": ids.tolist(),
            "logits": [[round(x, 6) for x in row] for row in logits.flatten(0, 1).tolist()],
            "losses": losses,
        }
    )
    + "\n"
)
(OUT / "generation_config.json").unlink(missing_ok=True)
