"""What the stages of the event engine read: images, and sums of packed spikes."""

import math
from collections.abc import Mapping, Sequence

import jax.numpy as jnp
from jax import Array

from csnn_jax import ops
from csnn_jax.config.graph import IMAGE, Edge, NeuronNode, Node, WeightedNode
from csnn_jax.config.operations import Flatten, OneToOne, Pooling
from csnn_jax.engine.stages import Place, Stage, holds, planes_of
from csnn_jax.network.library import Jax
from csnn_jax.network.model import CSNN
from csnn_jax.ops import terms
from csnn_jax.ops.terms import Term


class Reader:
    """Collects the inputs of stages.

    Args:
        model: the rounded network.
        x: an image, which is the same at every step, or a sequence.
        masks: the neurons that dropout keeps [batch, neurons], by node.
        scale: dropout's factor of their spikes.

    Attributes:
        layers: what the stages so far did, by their neurons.
    """

    def __init__(self, model: CSNN, x: Array, masks: Mapping[str, Array], scale: float):
        self.model, self.graph, self.x, self.masks, self.scale = model, model.config.graph, x, masks, scale
        self.layers: dict[str, ops.Layer] = {}
        self._pooled: dict[str, list[Term]] = {}

    def inputs(self, stage: Stage) -> tuple[ops.Held | ops.Spikes, Array, int | None]:
        """The input of a stage, its weights, and the bits of numbers in a sum of 0 and 1; None: others are added."""
        kernels = [self._kernel(stage, number) for number in range(len(stage.sources))]
        if holds(self.graph, stage, self.x.ndim == 5):
            images = [self._held(stage, number) for number in range(len(stage.sources))]
            held = ops.held(jnp.concatenate(images, -1), self.model.config.time_steps)
            return held, jnp.concatenate(kernels, -2), None
        direct, (node, *others) = stage.direct, stage.sources
        if direct and direct.name == IMAGE:
            image = self.x if stage.convolution else self.x.reshape(*self.x.shape[:2], -1)
            return self._packed(image), kernels[0], planes_of(self.model)
        dropped = direct and self._drops(node, direct.name)
        if isinstance(direct, NeuronNode) and (not dropped or self._drops_always(direct)):
            spikes = self.layers[direct.name].spikes
            return (spikes, kernels[0] * self.scale, None) if dropped else (spikes, kernels[0], 1)
        sums = [(self._terms(one), kernel) for one, kernel in zip(stage.sources, kernels, strict=True)]
        planes = None if others else _planes(sums[0][0])
        if len(stage.places) > 1:
            pairs = zip(sums, stage.places, strict=True)
            sums = [([self._placed(stage, one, place) for one in parts], kernel) for (parts, kernel), place in pairs]
        return *terms.joined(sums), planes

    def shortcut(self, stage: Stage, node: WeightedNode) -> tuple[ops.Held | ops.Spikes, Array, int | None]:
        """The same for one of a stage's shortcuts; its weights are [in, out]."""
        kernel = self.model.weights[node.name].kernel[...]
        if holds(self.graph, stage, self.x.ndim == 5):
            return ops.held(self._image_sum(node), self.model.config.time_steps), kernel[0, 0], None
        entering = self._terms(node)
        spikes, kernel = terms.joined([(entering, kernel)])
        return spikes, kernel[0, 0], _planes(entering)

    def stays(self, neurons: NeuronNode) -> Array | None:
        """The neurons [batch, *shape] whose spikes dropout keeps, if it drops the others for all of their readers."""
        if not self._drops_always(neurons):
            return None
        return self.masks[neurons.name].reshape(-1, *neurons.shape).astype(bool)

    def _drops(self, node: Node, name: str) -> bool:
        """Whether dropout drops spikes of neurons on the way to a node that reads them as they are, or flattened."""
        sources = [self.graph[edge.source] for edge in node.inputs]
        reader = sources[0] if isinstance(sources[0].operation, Flatten) else node
        return name in self.masks and (reader.name, name) in self.graph.droppable

    def _drops_always(self, neurons: NeuronNode) -> bool:
        """Whether dropout drops spikes of neurons for all of their readers but themselves."""
        edges = [(node, edge) for node in self.graph for edge in node.inputs if edge.source == neurons.name]
        others = [(node, edge) for node, edge in edges if node.name not in self._recurrent(neurons)]
        return neurons.name in self.masks and all(
            not edge.delay and (node.name, neurons.name) in self.graph.droppable for node, edge in others
        )

    def _recurrent(self, neurons: NeuronNode) -> list[str]:
        """The nodes through which neurons read their own spikes."""
        return [node.name for node in self.graph.sources(neurons) if node.inputs == (Edge(neurons.name, 1),)]

    def _kernel(self, stage: Stage, number: int) -> Array:
        """The weights of a source; of a convolution, with the kernel's size of the widest."""
        node = stage.sources[number]
        kernel = self.model.weights[node.name].kernel[...]
        if isinstance(node.operation, OneToOne):
            return jnp.diag(kernel)
        if not stage.places:
            return kernel
        offset, size = stage.places[number].offset, stage.weights.kernel_shape[0]
        zeros = (offset, size - offset - len(kernel))
        return jnp.pad(kernel, [zeros, zeros, (0, 0), (0, 0)])

    def _held(self, stage: Stage, number: int) -> Array:
        """What a source reads of an image that's the same at every step."""
        image = self._image_sum(stage.sources[number])
        if not stage.places:
            return image.reshape(len(image), -1)
        return self._moved(stage, image[:, None], stage.places[number])[:, 0]

    def _image_sum(self, node: Node) -> Array:
        """The sum that a node reads, if it reads only the image and pools of it."""
        library, images = Jax(self.graph, self.model.nodes), list[Array]()
        for source in (self.graph[edge.source] for edge in node.inputs):
            if source.name == IMAGE:
                images.append(self.x.astype(jnp.float32))
            else:
                images.append(library.evaluate(source, {}, self._image_sum(source)))
        return sum(images[1:], images[0])

    def _packed(self, x: Array) -> ops.Spikes:
        return ops.pack(x if x.dtype == jnp.uint8 else x.astype(jnp.float32), planes_of(self.model))

    def _terms(self, node: Node) -> list[Term]:
        """The terms of the sum that a node reads."""
        return [one for edge in node.inputs for one in self._read(node, edge)]

    def _read(self, node: Node, edge: Edge) -> Sequence[Term]:
        source, inputs = self.graph[edge.source], list[Term]()
        if source.name == IMAGE:
            inputs = [terms.term(self._packed(self.x))]
        elif isinstance(source, NeuronNode):
            inputs = [self._spikes(node, edge, source)]
        elif isinstance(source.operation, Pooling):
            inputs = self._pool(source, source.operation)
        else:
            inputs = self._terms(source)
        if not edge.delay or self.graph.is_previous(edge):
            return inputs
        return [terms.delayed(one, edge.delay) for one in inputs]

    def _pool(self, node: Node, pool: Pooling) -> list[Term]:
        """The terms of a pool of spikes; once for all of its readers."""
        if node.name not in self._pooled:
            entering = self._terms(node)
            members = [member for one in entering for member in terms.added(one, pool)] if pool.kind != "max" else []
            self._pooled[node.name] = members or terms.largest(entering, pool)
        return self._pooled[node.name]

    def _spikes(self, node: Node, edge: Edge, source: NeuronNode) -> Term:
        """The spikes of neurons, of the step before or as they are."""
        one, neurons = terms.term(self.layers[source.name].spikes), self.model.neurons[source.name]
        if self.graph.is_previous(edge):
            threshold = jnp.asarray(neurons.in_use["threshold"], jnp.float32)
            return terms.delayed(one, 1, terms.initial(one, threshold, neurons.derivative))
        if edge.delay or source.name not in self.masks or (node.name, source.name) not in self.graph.droppable:
            return one
        if self._drops_always(source):
            return one.times(self.scale)
        return terms.masked(one, self.masks[source.name], self.scale)

    def _placed(self, stage: Stage, one: Term, place: Place) -> Term:
        return one.map(lambda array: self._moved(stage, array, place))

    def _moved(self, stage: Stage, array: Array, place: Place) -> Array:
        size = self.graph.entering(stage.weights)[:2]
        return terms.placed(array, size, place.before)


def _planes(entering: Sequence[Term]) -> int | None:
    """The bits of numbers whose sum has these terms; None: they aren't multiples of a power of two."""
    weights = [weight for one in entering for weight in one.weights]
    if any(math.frexp(weight)[0] != 0.5 for weight in weights):
        return None
    return 1 + round(math.log2(max(weights) / min(weights)))
