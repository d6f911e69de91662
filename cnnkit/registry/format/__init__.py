"""The file format of versions: manifest, arrays and seal, as docs/format.md specifies them."""
