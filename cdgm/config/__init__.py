"""What a user writes, as types: studies, fits, designs, data sets; and how config files are merged."""
