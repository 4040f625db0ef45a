"""A contract for import-linter: a package imports nothing from outside but what is listed, standard library included."""

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output


class OutsideContract(Contract):
    """`source` may import, from outside the project, only `allowed` (top-level names). Ours are the business of the layers."""

    source = fields.StringField()
    allowed = fields.SetField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: FBT001, ARG002 - the base class asks for it
        """Compare all imports of the source with the list."""
        modules = {self.source, *graph.find_descendants(self.source)}
        foreign = {
            (module, imported)
            for module in modules
            for imported in graph.find_modules_directly_imported_by(module)
            if self._outside(imported)
        }
        unused = self.allowed - {imported.split(".")[0] for _, imported in foreign}
        broken = sorted((m, i) for m, i in foreign if i.split(".")[0] not in self.allowed)
        return ContractCheck(kept=not broken and not unused, metadata={"broken": broken, "unused": sorted(unused)})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Say which imports are not allowed, and which allowances nobody uses."""
        for module, imported in check.metadata["broken"]:
            output.print_error(f"{module} imports {imported}, which {self.source} may not")
        for name in check.metadata["unused"]:
            output.print_error(f"{self.source} is allowed {name} but does not import it")

    def _outside(self, imported: str) -> bool:
        return imported.split(".", maxsplit=1)[0] != self.source.split(".")[0]
