"""`python -m keras_cbam.cli`, the same as `keras-cbam`."""

from keras_cbam.cli import main

main()
