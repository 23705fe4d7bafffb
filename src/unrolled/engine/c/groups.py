"""A phase of a plan comes in; the groups of its columns that one tile computes go out, with what each
multiplies: operands as they lie in memory, and blocks of the matrices.
"""

from dataclasses import dataclass

from ..plan import Phase
from .spelling import Spelling
from .tiles import MOST, Layout


@dataclass(frozen=True)
class Part:
    """One operand that some neighbouring columns of a group multiply.

    Args:
        first, count: the columns, counted within the group.
        operand, stride, size: rows of the operand in C, their distance, and how many k.
        jump: the distance of its vectors along k.
        source: the matrix; blocks: which block of its rows each column (or, backward, the term)
            takes.
        back: whether the matrix is transposed: U^T d.
        zeros: whether the operand is a state before the step that starts from zeros.
    """

    first: int
    count: int
    operand: str
    stride: str
    size: str
    source: str
    blocks: tuple[int, ...]
    back: bool = False
    jump: str = "V"
    zeros: bool = False


@dataclass(frozen=True)
class Group:
    """Neighbouring columns of a phase whose accumulators fit the registers: one tile.

    Args:
        name: of its packed weights.
        first, count: its columns.
        parts: what they sum, in order; the input's first.
    """

    name: str
    first: int
    count: int
    parts: tuple[Part, ...]

    @property
    def layout(self) -> Layout:
        """Its sections; an empty product still starts its columns."""
        found: list[tuple[int, int]] = []
        for part in self.parts:
            if not found or found[-1] != (part.first, part.count):
                found.append((part.first, part.count))
        return tuple(found) or ((0, self.count),)

    @property
    def sizes(self) -> list[str]:
        """How many k of each part are multiplied: none of first states of zeros that nobody gave,
        whatever U holds.

        Those alone that come last, behind which no other part looks for its weights.
        """
        sizes = [part.size for part in self.parts]
        for n in range(len(sizes))[::-1]:
            if not self.parts[n].zeros:
                break
            sizes[n] = f"at->blank ? 0 : {sizes[n]}"
        return sizes

    @property
    def sections(self) -> list[int]:
        """The section of each part."""
        numbers: list[int] = []
        for n, part in enumerate(self.parts):
            last = self.parts[n - 1]
            same = n > 0 and (part.first, part.count) == (last.first, last.count)
            numbers.append(numbers[-1] + (not same) if numbers else 0)
        return numbers

    def before(self, n: int) -> str:
        """Words of weights a unit in front of those of the n-th part, in C; of all parts with n = -1."""
        parts = self.parts if n < 0 else self.parts[:n]
        return " + ".join(f"{part.count} * words({part.size})" for part in parts) or "0"

    @property
    def reads_x(self) -> int:
        """How many of its columns read x; they stand first."""
        first = self.parts[0] if self.parts else None
        return first.count if first is not None and first.source == "x_weight" else 0


class Products:
    """The products of one phase.

    Args:
        spelling: how values are written.
        name: of the phase in C.
        phase: its columns are summed here.
        backward: whether matrices are transposed: U^T d.
    """

    def __init__(self, spelling: Spelling, name: str, phase: Phase, *, backward: bool):
        self.spelling, self.name, self.backward = spelling, name, backward
        self.columns = phase.columns
        self.groups = self._groups()

    @property
    def widest(self) -> int:
        """Columns of the widest group."""
        return max((group.count for group in self.groups), default=1)

    def _groups(self) -> list[Group]:
        groups, total = [], len(self.columns)
        tiles = -(-total // MOST)
        for n in range(tiles):
            first, end = total * n // tiles, total * (n + 1) // tiles
            parts = self._back_parts(first, end) if self.backward else self._parts(first, end)
            groups.append(Group(f"{self.name}_{first}", first, end - first, tuple(parts)))
        return groups

    def _parts(self, first: int, end: int) -> list[Part]:
        traced, parts = self.spelling.plan.traced, []
        reading = [n for n in range(first, end) if self.columns[n].x]
        if reading:
            blocks = tuple(traced.x_gates.index(self.columns[n].x) for n in reading)
            rows = "c->x + (at->t * c->B + b) * c->ldx"
            parts.append(Part(0, len(reading), rows, "c->ldx", "c->K", "x_weight", blocks))
        by_operand: dict[tuple[str, int], list[int]] = {}
        for n in range(first, end):
            if self.columns[n].product >= 0:
                node = self.spelling.nodes[self.columns[n].product]
                by_operand.setdefault((node.op, node.args[0]), []).append(n)
        for (op, operand), columns in by_operand.items():
            parts += [self._product(op, operand, some, first) for some in _neighbours(columns)]
        return parts

    def _product(self, op: str, operand: int, columns: list[int], first: int) -> Part:
        traced, spelling = self.spelling.plan.traced, self.spelling
        order = traced.u_gates if op == "u" else traced.projs
        names = [str(spelling.nodes[self.columns[n].product].attr) for n in columns]
        base, stride, jump = self.rows_of(operand)
        size = f"c->{traced.operand_width}" if op == "u" else "c->H"
        source = "u_weight" if op == "u" else "proj_weight"
        blocks = tuple(order.index(name) for name in names)
        zeros = spelling.starts_from_zeros(operand)
        place = (columns[0] - first, len(columns), base, stride, size, source, blocks)
        return Part(*place, jump=jump, zeros=zeros)

    def _back_parts(self, first: int, end: int) -> list[Part]:
        traced, spelling = self.spelling.plan.traced, self.spelling
        parts = []
        for n in range(first, end):
            node = spelling.nodes[self.columns[n].product]
            for term, operand in enumerate(node.args):
                base, stride, jump = self.rows_of(operand)
                if node.op == "u_back":
                    # The operands of u_back follow the nodes of its gates.
                    value = int(str(node.attr)[1:])
                    gates = [
                        str(m.attr)
                        for k, m in enumerate(traced.graph.nodes)
                        if m.op == "u" and m.args[0] == value and k in spelling.derived.by_u
                    ]
                    block, source, size = traced.u_gates.index(gates[term]), "u_weight", "c->H"
                else:
                    block, source = traced.projs.index(str(node.attr)), "proj_weight"
                    size = "c->P"
                part = Part(n - first, 1, base, stride, size, source, (block,), True, jump)
                parts.append(part)
        return parts

    def rows_of(self, k: int) -> tuple[str, str, str]:
        """The first row of an operand that lies in memory, the distance of rows, and of vectors."""
        node = self.spelling.nodes[k]
        if node.op == "weight":  # every row multiplies the same
            return self.spelling.weight_row(str(node.attr), whole=f"p->w_{node.attr}"), "0", "V"
        place = self.spelling.operand(k, backward=self.backward)
        if place.startswith("at->dz"):
            return self.spelling.derivatives(self.spelling.slots[k], "at->dz")
        place = place.replace(" + j", "")
        base, _, rest = place.partition(" + ")
        if rest.startswith("(row * "):
            count, slot = rest.removeprefix("(row * ").split(" + ")
            number = slot.split(")")[0]
            return f"{base} + (b * {count} + {number}) * c->Hp", f"{count} * c->Hp", "V"
        if "row" not in rest:
            raise AssertionError(f"{place} has no rows")
        stride = rest.split("row * ")[1]
        return f"{base} + b * {stride}", stride, "V"

    def biases(self) -> list[tuple[int, int]]:
        """For each column, the blocks of the input's and of U's bias that it starts from; or -1."""
        traced, found = self.spelling.plan.traced, []
        for column in self.columns:
            x = traced.x_gates.index(column.x) if column.x else -1
            node = self.spelling.nodes[column.product] if column.product >= 0 else None
            u = traced.u_gates.index(str(node.attr)) if node and node.op == "u" else -1
            found.append((x, u))
        return found


def _neighbours(columns: list[int]) -> list[list[int]]:
    parts: list[list[int]] = []
    for n in columns:
        if parts and parts[-1][-1] == n - 1:
            parts[-1].append(n)
        else:
            parts.append([n])
    return parts
