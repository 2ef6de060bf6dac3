#!/usr/bin/env python3
"""Another workload of the same packages as torch_train.py, which is not traced: transforms as torchvision has them, FFT,
linear algebra, random numbers, saving and loading, and torch.compile where there is a GPU. Ends with "done"."""
import io

import torch
from torch.nn import functional

device = 'cuda' if torch.cuda.is_available() else 'cpu'
torch.manual_seed(3)
images = torch.rand(4, 3, 64, 64, device=device)
images = functional.interpolate(images, size=(48, 48), mode='bilinear', antialias=True)
images = functional.pad(images, (2, 2, 2, 2), mode='reflect').flip(-1)
grid = functional.affine_grid(torch.eye(2, 3, device=device).expand(4, 2, 3), images.shape, align_corners=False)
images = functional.grid_sample(images, grid, align_corners=False)
spectrum = torch.fft.rfft2(images)
print('fft       %.4f' % (torch.fft.irfft2(spectrum, s=images.shape[-2:]) - images).abs().max().item())
matrix = torch.randn(32, 32, dtype=torch.float64, device=device)
matrix = matrix @ matrix.T + 32 * torch.eye(32, dtype=torch.float64, device=device)
print('cholesky  %.4f' % (torch.linalg.cholesky(matrix) @ torch.linalg.cholesky(matrix).T - matrix).abs().max().item())
print('svd       %.4f' % torch.linalg.svdvals(matrix).sum().item())
print('eigh      %.4f' % torch.linalg.eigvalsh(matrix).sum().item())
print('solve     %.4f' % torch.linalg.solve(matrix, matrix[:, :1]).sum().item())
print('qr        %.4f' % torch.linalg.qr(matrix)[1].diagonal().abs().sum().item())
model = torch.nn.LSTM(8, 16, num_layers=2, batch_first=True).to(device)
print('lstm      %.4f' % model(torch.ones(2, 5, 8, device=device))[0].sum().item())
print('sparse    %.4f' % torch.sparse.mm(torch.eye(32, device=device).to_sparse(), torch.ones(32, 2, device=device)).sum().item())
saved = io.BytesIO()
torch.save(model.state_dict(), saved)
saved.seek(0)
model.load_state_dict(torch.load(saved, weights_only=True))
distribution = torch.distributions.Normal(torch.zeros(3, device=device), torch.ones(3, device=device))
print('kl        %.4f' % torch.distributions.kl_divergence(distribution, distribution).sum().item())
if device == 'cuda':
    print('compiled  %.4f' % torch.compile(lambda x: torch.nn.functional.gelu(x).sum() + x.cos().sum())(images).item())
print('done')
