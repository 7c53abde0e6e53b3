"""Files that versions of the package wrote; every later version reads them."""
