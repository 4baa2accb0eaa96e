import numpy as np
import tensorflow as tf
from keras_cv.layers import DropBlock2D

x = np.ones((8, 14, 14, 4), dtype="float32")
for run_eagerly in (False, True):
    model = tf.keras.Sequential([DropBlock2D(0.1, block_size=7, seed=0)])
    model.compile(optimizer="sgd", loss="mse", run_eagerly=run_eagerly)
    try:
        model.fit(x, np.zeros_like(x), verbose=0)
        print(f"run_eagerly={run_eagerly}: trains")
    except TypeError:
        print(f"run_eagerly={run_eagerly}: TypeError")
