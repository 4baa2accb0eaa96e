import numpy as np
from keras_cv.layers import DropBlock2D

for dtype in ("float16", "bfloat16"):
    for computed_in in (dtype, "float32"):
        errors = []
        for seed in range(50):
            x = np.random.default_rng(seed).uniform(0.5, 1.5, (1, 64, 64, 2))
            layer = DropBlock2D(0.1, block_size=7, seed=seed, dtype=computed_in)
            y = np.asarray(layer(x, training=True)).astype("float64")
            kept = y != 0
            applied, counted = y.sum() / x[kept].sum(), kept.size / kept.sum()
            errors.append(abs(applied / counted - 1))
        print(f"{dtype}, computed in {computed_in}: {100 * max(errors):.2f} % off")
