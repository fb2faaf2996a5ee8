"""Images with segmentation masks, read as they are downloaded."""
