"""Pictures of an evaluation, as PNG and SVG. They need matplotlib, which comes with the extra `plots`."""
