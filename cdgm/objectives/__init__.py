"""What is optimised: how sources' ELBOs combine, penalties added to them, and constraints."""
