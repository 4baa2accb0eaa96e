import tensorflow as tf
from keras_cv.layers import DropBlock2D

for dtype in ("float16", "bfloat16", "float64"):
    x = tf.ones((1, 8, 8, 1), dtype)
    y = DropBlock2D(0.1, block_size=3, seed=0)(x, training=True)
    own = DropBlock2D(0.1, block_size=3, seed=0, dtype=dtype)(x, training=True)
    print(f"{dtype}: output {y.dtype.name}, with dtype={dtype!r} {own.dtype.name}")
