"""Directive ``plugins``: the modules of a registry, so that a new plug-in is in the reference by itself."""

import importlib

from sphinx.util.docutils import SphinxDirective


class Plugins(SphinxDirective):
    """``.. plugins:: package:REGISTRY``."""

    required_arguments = 1

    def run(self):
        module, name = self.arguments[0].split(":")
        registry = getattr(importlib.import_module(module), name)
        modules = dict.fromkeys(registry.load(kind).__module__ for kind in registry)
        return self.parse_text_to_nodes("\n".join(f".. automodule:: {name}\n" for name in modules))


def setup(app):
    app.add_directive("plugins", Plugins)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
