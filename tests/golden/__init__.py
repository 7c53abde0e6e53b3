"""Files that versions of the package wrote; every later version reads them.

The code of 0.1.0 (ca7de63) wrote its own by the steps of `write.py`, with Keras's Adam and loss.
Its `manifest.json` had the version of the package that was installed beside; 0.1.0 was put there by
hand.
"""
