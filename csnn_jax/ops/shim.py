import math
import numpy as np
from csnn_jax.engine import library
from csnn_jax.engine.library import float_of as F, words_of as W

L = 16


def call_once(name, **a):
    over = None
    a = {k: v for k, v in a.items() if v is not None}
    ops_, att = {}, {}
    for k, v in a.items():
        (ops_ if hasattr(v, "aval") or hasattr(v, "shape") and not isinstance(v, (np.integer,)) else att)[k] = v
    keep = att.pop("keep", False)
    if "size" in att:
        att["size"] = np.array(att["size"], np.int64)
    if "max" in att:
        att["max"] = np.bool_(att["max"])
    if "slope" in att:
        att["slope"] = np.float32(att["slope"])
    for k in list(att):
        if isinstance(att[k], int) and not isinstance(att[k], bool):
            att[k] = np.int64(att[k])
    res = {}
    if "size" in att:
        k = a["kernel"]
        ks, out = k.shape[0], k.shape[-1]
        rc = [(s + 2 * int(att["padding"]) - ks + 1) // int(att["pool"]) for s in att["size"]]
        neurons = math.prod(int(x) for x in rc) * out

    def fired(b, t, n):
        return {"bits": W(b, t, n // L), "membranes": F(*((b, t, n) if keep else (0,))), "last": F(b, n)}

    if name == "constant_lif":
        res = fired(a["current"].shape[0], int(att["time"]), a["current"].shape[1])
    elif name == "linear_lif":
        res = fired(*a["bits_in"].shape[:2], a["kernel"].shape[1])
    elif name == "conv_lif":
        b, t = a["bits_in"].shape[:2]
        res = fired(b, t, neurons) | {"winners": W(b if keep and att["max"] else 0, t, 2, neurons // L)}
    elif name == "lif_backward":
        s = a["membranes"].shape
        res = dict(dcurrent=F(*s), total=F(s[0], s[2]), dbeta=F(s[0]), dthreshold=F(s[0]))
        over = {"dspikes": "dcurrent"}
    elif name == "linear_weights":
        res = {"dkernel": F(a["bits_in"].shape[2] * L, a["dcurrent"].shape[2])}
    elif name == "conv_backward":
        b, t, w = a["bits_in"].shape
        inputs = w * L
        into = {"data": F(0), "spikes": F(b, t, inputs), "constant": F(b, inputs)}[att["source"]]
        res = dict(dkernel=F(*a["kernel"].shape), dbias=F(out), dbeta=F(b), dthreshold=F(b), din=into)
        att.pop("reset_", None)
    elif name == "image_current":
        b = a["image"].shape[0]
        import jax

        res = {"current": F(b, neurons), "winners": jax.ShapeDtypeStruct((b if att["max"] else 0, neurons), np.uint8)}
    elif name == "image_weights":
        res = {"dkernel": F(*a["kernel"].shape), "dbias": F(out)}
    elif name == "pack":
        t, b, p, c = a["x"].shape
        res = {"bits": W(b, t, p * (-(-int(att["planes"]) * c // L)))}
    elif name == "multiply": res = {"product": F(a["left"].shape[0], a["right"].shape[1])}
    elif name == "add_rows": res = {"sums": F(a["x"].shape[1])}
    elif name == "count_spikes":
        res = {"counts": F(a["bits"].shape[0])}
    return call_raw(name, ops_, res, over, **att)


import jax
from functools import partial
import jax.numpy as jnp

AXIS = {n: 0 for n in "bits_in current image dspikes membranes winners given left current_in bits last counts total dcurrent dbeta dthreshold din".split()} | {"x": 1}


def call(name, **a):
    arrays = {k: v for k, v in a.items() if hasattr(v, "aval") or isinstance(v, (np.ndarray, jax.Array))}
    rest = {k: v for k, v in a.items() if k not in arrays and v is not None}
    return once_differentiable(name, tuple(rest.items()), arrays)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def once_differentiable(name, rest, arrays):
    f = jax.custom_batching.custom_vmap(lambda arrays: call_once(name, **arrays, **dict(rest)))

    @f.def_vmap
    def _(size, mapped, arrays):
        mapped = mapped[0]
        into = lambda arrays: call(name, **arrays, **dict(rest))
        axes = {n: AXIS.get(n) if not (name == "pack" and n == "bits") else 0 for n in arrays}
        if name in ("multiply", "add_rows"): axes = {}
        like = jax.eval_shape(lambda arrays: call_once(name, **arrays, **dict(rest)), {n: (jax.ShapeDtypeStruct(v.shape[1:], v.dtype) if mapped[n] else v) for n, v in arrays.items()})
        outs = {n: (AXIS.get(n) if axes else None) for n in like}
        if axes and all(outs[n] is not None or 0 in like[n].shape for n in like) and not any(mapped[n] and axes[n] is None for n in arrays):
            def merged(n, v):
                axis = axes[n]
                if axis is None: return v
                if not mapped[n]: v = jnp.broadcast_to(v, (size, *v.shape))
                v = jnp.moveaxis(v, 0, axis)
                return v.reshape(*v.shape[:axis], -1, *v.shape[axis + 2:])
            r = into({n: merged(n, v) for n, v in arrays.items()})
            def split(n, v):
                axis = outs[n]
                if 0 in like[n].shape: return jnp.zeros((size, *like[n].shape), v.dtype)
                return jnp.moveaxis(v.reshape(*v.shape[:axis], size, -1, *v.shape[axis + 1:]), axis, 0)
            r = {n: split(n, v) for n, v in r.items()}
        else:
            each = {n: v for n, v in arrays.items() if mapped[n]}
            r = jax.lax.map(lambda each: into(arrays | each), each)
        return r, {n: True for n in r}

    return f(arrays)


@once_differentiable.defjvp
def _(*_):
    instead = "the scan engine (csnn_jax.forward) with jax.grad or jax.jacrev"
    raise library.Unsupported(f"the event engine has no second derivatives and no forward mode (jax.hessian); use {instead}")


def call_raw(name, operands, results, aliases=None, **attributes):
    library._require()
    given = {o: a for o, a in operands.items() if a is not None}
    takes, gives = ({each: np.int64(number) for number, each in enumerate(names)} for names in (given, results))
    numbers = {int(takes[operand]): int(gives[result]) for operand, result in (aliases or {}).items()}
    operation = jax.ffi.ffi_call(f"csnn_{name}", tuple(results.values()), input_output_aliases=numbers)
    arrays = operation(*given.values(), operands=takes, results=gives, **attributes)
    return dict(zip(results, arrays, strict=True))
