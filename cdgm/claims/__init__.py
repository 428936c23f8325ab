"""Claims and their verdicts: specification, selectors, intervals, judgement."""
