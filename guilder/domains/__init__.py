"""One folder, one domain; the order between them is checked by the import contracts."""
