"""TFLite files: converted, then changed pass by pass."""
