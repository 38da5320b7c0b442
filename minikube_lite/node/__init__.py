"""The node: watches the directory, decides with core, acts through linux. The only floor that looks at a clock."""
