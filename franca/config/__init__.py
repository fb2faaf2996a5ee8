"""Every option, the reader that checks it, and the recipes that set it."""
