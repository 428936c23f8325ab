"""Names of rows that belong to several blocks or sources."""

#: Joins the parts of such a name; no name of a block or source contains it.
JOINT = "&"
