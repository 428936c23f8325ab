"""Directive ``plugins``: the classes of a registry, so that a new plug-in is in the reference by itself."""

import importlib

from sphinx.util.docutils import SphinxDirective


class Plugins(SphinxDirective):
    """``.. plugins:: package:REGISTRY``."""

    required_arguments = 1

    def run(self):
        module, name = self.arguments[0].split(":")
        registry = getattr(importlib.import_module(module), name)
        lines = []
        for kind in registry:
            plugin = registry.load(kind)
            lines += [f".. autoclass:: {plugin.__module__}.{plugin.__name__}", ""]
        return self.parse_text_to_nodes("\n".join(lines))


def setup(app):
    app.add_directive("plugins", Plugins)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
