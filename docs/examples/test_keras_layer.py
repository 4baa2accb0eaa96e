"""A DropBlock layer of Keras, eager and in a graph, and its tests."""

import keras
import tensorflow as tf
from keras import ops

from dropblock_ref.testing import Backend, parametrize_with_checks


class DropBlock2D(keras.layers.Layer):
    def __init__(self, rate, block_size, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= rate <= 1 or not isinstance(block_size, int) or block_size < 1:
            raise ValueError(f"rate {rate} or block_size {block_size} is wrong")
        self.rate, self.block_size = rate, block_size
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x, training=False):
        if not training or self.rate == 0:
            return x
        b, (N, H, W, C) = self.block_size, ops.shape(x)
        if b > min(H, W):
            raise ValueError(f"block_size {b} does not fit a map of {H}x{W}")
        h, w = H - b + 1, W - b + 1  # the number of places for a block
        gamma = self.rate * H * W / (b * b * h * w)
        corners = keras.random.uniform((N, h, w, C), dtype="float32", seed=self.seed_generator) < gamma
        around = ((0, 0), (b - 1, b - 1), (b - 1, b - 1), (0, 0))
        keep = 1 - ops.max_pool(ops.pad(ops.cast(corners, "float32"), around), b, strides=1)
        wide = "float64" if self.compute_dtype == "float64" else "float32"  # a sum in half precision overflows
        kept = ops.cast(ops.sum(keep), wide)
        scale = ops.cast(ops.size(keep), wide) / ops.maximum(kept, 1)
        return x * ops.cast(keep, x.dtype) * ops.cast(scale, x.dtype)


class Wrapped:
    """NumPy in, NumPy out: one layer for each setting, so that calls with the seed None go on with its stream."""

    def __init__(self, call):
        self.layers, self.call = {}, call

    def layer(self, x, drop_prob, block_size, seed):
        key = (drop_prob, block_size, x.dtype.name)  # a layer casts its input to its own dtype
        if key not in self.layers:
            layer = DropBlock2D(drop_prob, block_size, dtype=x.dtype.name)
            self.layers[key] = layer, self.call(layer)
        layer, call = self.layers[key]
        if seed is not None:
            layer.seed_generator.state.assign((seed, 0))
        return call

    def forward(self, x, drop_prob, block_size, *, training, seed):
        return self.layer(x, drop_prob, block_size, seed)(tf.constant(x), training=training).numpy()

    def vjp(self, x, cotangent, drop_prob, block_size, *, training, seed):
        x = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = self.layer(x, drop_prob, block_size, seed)(x, training=training)
        return y.numpy(), tape.gradient(y, x, tf.constant(cotangent)).numpy()


def backend(name, call, dtypes):
    wrapped = Wrapped(call)
    return Backend(
        name=name,
        forward=wrapped.forward,
        vjp=wrapped.vjp,
        data_format="channels_last",
        dtypes=dtypes,
        accepts=lambda spatial_shape, block_size: isinstance(block_size, int),
    )


@parametrize_with_checks([backend("eager", lambda layer: layer, ("float16", "bfloat16", "float32", "float64"))])
def test_layer(backend, check):
    check(backend)


@parametrize_with_checks([backend("graph", tf.function, ("float32",))], checks="quick")
def test_layer_in_graph(backend, check):
    check(backend)
