"""What the bytes of an image file say: its format, whether it is whole, its size in pixels. Pure; shared by intake and engine."""
