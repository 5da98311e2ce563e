import math
import numpy as np
from csnn_jax.engine import library
from csnn_jax.engine.library import float_of as F, words_of as W
L = 16
def call(name, **a):
    over = None
    a = {k: v for k, v in a.items() if v is not None}
    ops_, att = {}, {}
    for k, v in a.items():
        (ops_ if hasattr(v, "aval") or hasattr(v, "shape") and not isinstance(v,(np.integer,)) else att)[k] = v
    keep = att.pop("keep", False)
    if "size" in att: att["size"] = np.array(att["size"], np.int64)
    if "max" in att: att["max"] = np.bool_(att["max"])
    if "slope" in att: att["slope"] = np.float32(att["slope"])
    for k in list(att):
        if isinstance(att[k], int) and not isinstance(att[k], bool): att[k] = np.int64(att[k])
    res = {}
    if "size" in att:
        k = a["kernel"]; ks, out = k.shape[0], k.shape[-1]
        rc = [(s + 2 * int(att["padding"]) - ks + 1) // int(att["pool"]) for s in att["size"]]
        neurons = math.prod(int(x) for x in rc) * out
    def fired(b, t, n): return {"bits": W(b, t, n // L), "membranes": F(*((b, t, n) if keep else (0,))), "last": F(b, n)}
    if name == "constant_lif": res = fired(a["current"].shape[0], int(att["time"]), a["current"].shape[1])
    elif name == "linear_lif": res = fired(*a["bits_in"].shape[:2], a["kernel"].shape[1])
    elif name == "conv_lif":
        b, t = a["bits_in"].shape[:2]
        res = fired(b, t, neurons) | {"winners": W(b if keep and att["max"] else 0, t, 2, neurons // L)}
    elif name == "lif_backward":
        s = a["membranes"].shape
        res = dict(dcurrent=F(*s), total=F(s[0], s[2]), dbeta=F(s[0]), dthreshold=F(s[0])); over = {"dspikes": "dcurrent"}
    elif name == "linear_weights": res = {"dkernel": F(a["bits_in"].shape[2] * L, a["dcurrent"].shape[2])}
    elif name == "conv_backward":
        b, t, w = a["bits_in"].shape; inputs = w * L
        into = {"data": F(0), "spikes": F(b, t, inputs), "constant": F(b, inputs)}[att["source"]]
        res = dict(dkernel=F(*a["kernel"].shape), dbias=F(out), dbeta=F(b), dthreshold=F(b), din=into)
        att.pop("reset_", None)
    elif name == "image_current":
        b = a["image"].shape[0]
        import jax
        res = {"current": F(b, neurons), "winners": jax.ShapeDtypeStruct((b if att["max"] else 0, neurons), np.uint8)}
    elif name == "image_weights": res = {"dkernel": F(*a["kernel"].shape), "dbias": F(out)}
    elif name == "pack":
        t, b, p, c = a["x"].shape
        res = {"bits": W(b, t, p * (-(-int(att["planes"]) * c // L)))}
    elif name == "count_spikes": res = {"counts": F(a["bits"].shape[0])}
    return library.call(name, ops_, res, over, **att)
