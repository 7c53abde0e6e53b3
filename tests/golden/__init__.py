"""Files that released versions wrote; every later version reads them."""
