"""What people are shown, by commands and by the page: images, figures, links. Pure; what is journalled comes from `records`."""
