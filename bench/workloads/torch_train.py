#!/usr/bin/env python3
"""What a small training job does of PyTorch: a training step of a convolutional network and of a transformer.

Runs on the GPU if there is one, else on the CPU, with deterministic algorithms. Prints one digest of all parameters
after the steps: equal digests mean equal bits. A trace of this command says what a training image needs."""
import hashlib
import os

os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')
import torch
from torch import nn

torch.manual_seed(7)
torch.use_deterministic_algorithms(True)
device = 'cuda' if torch.cuda.is_available() else 'cpu'


def step(name, model, batch, loss_of):
    model = model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        loss = loss_of(model(batch.to(device)))
        loss.backward()
        optimizer.step()
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    print('%-12s %-5s loss %.6f  parameters sha256:%s' % (name, device, loss.item(), digest.hexdigest()), flush=True)


def convolutional():
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(4),
                         nn.Flatten(), nn.Dropout(0.1), nn.Linear(512, 10))


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(100, 64)
        layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2)
        self.head = nn.Linear(64, 100)

    def forward(self, tokens):
        return self.head(self.encoder(self.embedding(tokens)))


# Adaptive pooling has no deterministic gradient on a GPU, so there the network has a plain one.
network = convolutional()
if device == 'cuda':
    network[7] = nn.AvgPool2d(4)
step('network', network, torch.randn(8, 3, 32, 32), lambda out: nn.functional.cross_entropy(out, torch.arange(8, device=device)))
step('transformer', Transformer(), torch.randint(0, 100, (4, 16)),
     lambda out: nn.functional.cross_entropy(out.flatten(0, 1), torch.zeros(64, dtype=torch.long, device=device)))
