"""A browser of tables: map, legend, neighbours, gallery, plates and table share one state."""
