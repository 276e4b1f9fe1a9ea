"""ONNX programs: reading a file with its external weights, taking ZipMap off, sealing a program into files."""
