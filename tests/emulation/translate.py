"""Translates PTX to C++: a kernel becomes a function, a register a variable, a label a label. machine.cpp runs it.

An instruction that is not in these tables is a SyntaxError: nothing is skipped.
"""

from __future__ import annotations

import re

from tests.emulation.ptx import SPECIAL, Code, Instruction, Kernel, arguments

REGISTERS = {"pred": "bool", "b16": "u16", "b32": "u32", "b64": "u64"}
SPACES = {"global", "shared", "local", "param"}
# What is computed of the arguments a, b, c, d of the instruction's type T; W: of twice as many bits.
RESULTS = {
    "mov": "{a}", "cvta": "{a}", "not": "~{a}", "neg": "-{a}", "abs": "{a} < 0 ? -{a} : {a}",
    "add": "{a} + {b}", "sub": "{a} - {b}", "and": "{a} & {b}", "or": "{a} | {b}", "xor": "{a} ^ {b}",
    "mul.lo": "{a} * {b}", "mul.wide": "({W}){a} * ({W}){b}", "mul.hi": "(({W}){a} * ({W}){b}) >> {bits}",
    "mad.lo": "{a} * {b} + {c}", "mad.wide": "({W}){a} * ({W}){b} + {c:W}",
    "mad.hi": "((({W}){a} * ({W}){b}) >> {bits}) + {c}",
    "div": "{a} / {b}", "rem": "{a} % {b}", "min": "{a} < {b} ? {a} : {b}", "max": "{a} > {b} ? {a} : {b}",
    "shl": "shl<{T}>({a}, (u32){b})", "shr": "shr<{T}>({a}, (u32){b})", "selp": "{c:bool} ? {a} : {b}",
    "bfi": "bfi<{T}>({a}, {b}, {c:u32}, {d:u32})", "bfe": "bfe<{T}>({a}, {b:u32}, {c:u32})",
    "bfind": "bfind<{T}>({a}, false)", "bfind.shiftamt": "bfind<{T}>({a}, true)", "brev": "brev<{T}>({a})",
    "popc": "__builtin_popcountll({a})", "clz": "clz<{T}>({a})",
    "prmt": "prmt({a}, {b}, {c:u32})", "lop3": "lop3({a}, {b}, {c}, {d:u32})",
    "shf.l.wrap": "shf_l({a}, {b}, {c:u32})", "shf.r.wrap": "shf_r({a}, {b}, {c:u32})",
}  # fmt: skip
COMPARED = {
    "eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "lo": "<", "ls": "<=", "hi": ">", "hs": ">=",
}  # fmt: skip
# What an atomic operation stores instead of the old value
ATOMICS = {
    "add": "(old + {0})", "exch": "({0})", "cas": "(old == {0} ? {1} : old)", "min": "({0} < old ? {0} : old)",
    "max": "({0} > old ? {0} : old)", "or": "(old | {0})", "and": "(old & {0})",
}  # fmt: skip


class _Of:
    """An argument in a template: of the instruction's type, or of another one that the template names."""

    def __init__(self, writer: Writer, text: str, kind: str) -> None:
        self._writer, self._text, self._kind = writer, text, kind

    def __format__(self, kind: str) -> str:
        kind = wider(self._kind) if kind == "W" else kind or self._kind
        return f"({kind}){self._writer.value(self._text)}"


def ctype(kind: str) -> str:
    """b32 is unsigned, and so is what holds a predicate."""
    return "bool" if kind == "pred" else kind.replace("b", "u")


def wider(kind: str) -> str:
    return f"{kind[0]}{2 * int(kind[1:])}" if kind != "bool" else kind


class Writer:
    """Writes the function of a kernel."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel, self.extents, self.at = kernel, {}, {}
        # The part that is written
        self.parts, self.now = kernel.parts(), 0
        self.begins = {label: i for i, (labels, _) in enumerate(self.parts) for label in labels}
        for space, variables in kernel.variables.items():
            end, self.extents[space] = 0, []
            for name, size, _ in variables:
                # Far from each other: what is beyond one is not the next
                begin = (end + 127) // 64 * 64
                end, self.at[name] = begin + size, begin
                self.extents[space].append((begin, size))

    def value(self, text: str) -> str:
        if text in SPECIAL:
            return f"c.{text[1:-2]}"
        if re.fullmatch(r"!?%\w+", text):
            return text.replace("%", "")
        if re.fullmatch(r"-?(0x[0-9a-fA-F]+|\d+)U?", text):
            return f"{int(text.rstrip('U'), 0) & (1 << 64) - 1}ull"
        if text in self.at:
            return f"{self.at[text]}u"
        raise SyntaxError(f"{self.kernel.name}: {text}")

    def address(self, text: str) -> str:
        base, _, offset = text.strip("[]").partition("+")
        return f"(u64){self.value(base)} + {self.value(offset or '0')}"

    def access(self, each: Instruction) -> str:
        op, args, is_load = each.op, each.args, each.op[0] == "ld"
        (space,) = SPACES & {*op}
        strong = int("volatile" in op or "relaxed" in op)
        parts = arguments(args[not is_load].strip("{}"))
        where, kind = f"c.{space}, {self.address(args[is_load])}", ctype(op[-1])
        if len(parts) > 1:
            assert kind[0] == "u", each
            whole = f"{kind}x{len(parts)}"
            if is_load:
                taken = "".join(f" {self.value(part)} = all.at[{i}];" for i, part in enumerate(parts))
                return f"{{ {whole} all = c.load<{whole}>({where}, {each.line}, {strong});{taken} }}"
            given = ", ".join(map(self.value, parts))
            return f"c.store<{whole}>({where}, {whole}{{{{{given}}}}}, {each.line}, {strong});"
        if is_load:
            return f"{self.value(args[0])} = ({kind})c.load<u{kind[1:]}>({where}, {each.line}, {strong});"
        return f"c.store<u{kind[1:]}>({where}, {self.value(args[1])}, {each.line}, {strong});"

    def instruction(self, each: Instruction) -> str:
        op, args, line = each.op, each.args, each.line
        name, kind = op[0], ctype(op[-1])
        if name in ("ld", "st"):
            return self.access(each)
        if name in ("atom", "red"):
            (space,), (what,) = SPACES & {*op}, ATOMICS.keys() & {*op}
            where, *values = args[name == "atom" :]
            new = ATOMICS[what].format(*(f"({kind}){self.value(value)}" for value in values))
            # Planted faults are plain
            change = "changed_plainly" if "plain" in op else "changed"
            where = f"c, c.{space}, {self.address(where)}, {line}"
            call = f"{change}<{kind}>({where}, [=]({kind} old) {{ return ({kind}){new}; }});"
            return call if name == "red" or args[0] == "_" else f"{self.value(args[0])} = {call}"
        if name == "bra":
            back = "c.step(); " if self.begins[args[0]] <= self.now else ""
            return f"{back}goto L{self.begins[args[0]]};"
        if name in ("ret", "exit"):
            return "return;"
        if name == "setp" and len(op) == 3:
            a, b = (f"({kind}){self.value(text)}" for text in args[1:])
            return f"{self.value(args[0])} = {a} {COMPARED[op[1]]} {b};"
        if name == "cvt" and len(op) == 3:
            return f"{self.value(args[0])} = ({ctype(op[1])})({kind}){self.value(args[1])};"
        if name == "mov" and "{" in args[0] + args[1]:
            bits = int(kind[1:]) // 2
            low, high = arguments(args["{" in args[1]].strip("{}"))
            if "{" in args[1]:
                low, high = (f"({kind})(u{bits}){self.value(text)}" for text in (low, high))
                return f"{self.value(args[0])} = {low} | {high} << {bits};"
            halves = ((part, n * bits) for n, part in enumerate((low, high)) if part != "_")
            return " ".join(f"{self.value(part)} = (u{bits})({self.value(args[1])} >> {n});" for part, n in halves)
        if template := RESULTS.get(".".join(op[:-1])) or (name == "cvta" and RESULTS[name]):
            given = {letter: _Of(self, text, kind) for letter, text in zip("abcd", args[1:], strict=False)}
            bits = 0 if kind == "bool" else int(kind[1:])
            if kind == "bool":
                template = template.replace("~", "!")
            found = template.format(T=kind, W=wider(kind) if bits else "", bits=bits, **given)
            return f"{self.value(args[0])} = {found};"
        return self.meeting(each, ".".join(op))

    def meeting(self, each: Instruction, op: str) -> str:
        args, line = each.args, each.line
        if op in ("bar.sync", "barrier.sync") and args == ["0"]:
            return f"c.barrier({line});"
        if op == "bar.warp.sync":
            return f"c.meet({line}, 0, {self.value(args[0])}, true);"
        if op == "shfl.sync.idx.b32":
            to, _, is_valid = args[0].partition("|")
            found = f"{self.value(to)} = c.shuffled({line}, {', '.join(map(self.value, args[1:]))});"
            return f"{found} {self.value(is_valid)} = true;" if is_valid else found
        if op == "vote.sync.ballot.b32":
            return f"{self.value(args[0])} = c.ballot({line}, {self.value(args[1])}, {self.value(args[2])});"
        if op in ("redux.sync.min.u32", "redux.sync.min.s32"):
            return f"{self.value(args[0])} = c.least<{op[-3:]}>({line}, {self.value(args[1])}, {self.value(args[2])});"
        if op in ("membar.gl", "fence.acq_rel.gpu", "fence.sc.gpu"):
            return "c.fence();"
        if op == "nanosleep.u32":
            return "c.give_way();"
        raise SyntaxError(f"line {line} of PTX is not known: {op} {args}")

    def function(self) -> str:
        lines = [f"static void kernel_{self.kernel.name}(Thread& c) {{"]
        for prefix, kind, n in self.kernel.registers:
            names = [prefix] if n < 0 else [f"{prefix}{i}" for i in range(n)]
            lines.append(f"  {REGISTERS[kind]} {', '.join(names)};")
        for now, (_, part) in enumerate(self.parts):
            self.now = now
            lines.append(f"L{now}: c.visit({now});")
            for each in part:
                code = self.instruction(each)
                lines.append(f"  if ({self.value(each.guard)}) {{ {code} }}" if each.guard else f"  {code}")
        return "\n".join([*lines, "}"])

    def entry(self) -> str:
        extents = ("{" + ", ".join(f"{{{a}, {n}}}" for a, n in self.extents[space]) + "}" for space in self.extents)
        return f'  {{"{self.kernel.name}", kernel_{self.kernel.name}, {", ".join(extents)}, {len(self.parts)}}},'


def translated(code: Code) -> str:
    """C++ with all kernels, and the table ENTRIES of them."""
    writers = [Writer(kernel) for kernel in code.kernels.values()]
    begin = "#include <machine.hpp>"
    table = "\n".join(["const std::vector<Entry> ENTRIES = {", *(each.entry() for each in writers), "};"])
    return "\n\n".join([begin, *(each.function() for each in writers), table]) + "\n"
