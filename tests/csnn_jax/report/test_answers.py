import re
from dataclasses import replace

import numpy as np
from bundles import SMALL

from csnn_jax.report import answers, measure


def shown(one, found) -> str:
    return "".join(part.text for part in answers.answers(one, found))


def test_the_matrix_and_the_mistakes_are_those_of_the_answers(measured):
    one, found = measured
    text, labels = shown(one, found), found.split.labels
    cells = [int(cell) for cell in re.findall(r'class="cell[^>]*>(\d+)<', text)]
    np.testing.assert_array_equal(np.reshape(cells, (10, 10)), found.result.confusion)
    wrong = np.flatnonzero(found.counts.argmax(1) != labels)
    assert f"{len(wrong)} images are taken for another class" in text
    for index in measure.mistakes(labels, found.counts)[:12]:
        label, answer = labels[index], found.counts[index].argmax()
        counts = f"{found.counts[index, label]} against {found.counts[index, answer]} spikes (image {index})"
        assert f"<strong>{label} taken for {answer}</strong>, {counts}" in text
    assert text.count("<svg") == min(12, len(wrong))


def test_many_classes_are_a_chart(measured):
    one, found = measured
    many = replace(one.dataset, names=tuple(map(str, range(30))))
    wide = replace(found, counts=np.pad(found.counts, ((0, 0), (0, 20))))
    text = shown(replace(one, dataset=many, config=replace(one.config, model=replace(SMALL, num_classes=30))), wide)
    assert '"heatmap"' in text and 'class="cell' not in text


def test_the_steps_that_are_needed(measured):
    one, found = measured
    by_step = np.array([0.1, 0.985, 0.97, 0.9895, 0.99, 0.99])
    text = answers.steps([(one, replace(found, by_step=by_step))]).text
    row = re.search(r"<tbody>(.*)</tbody>", text)[1]
    assert re.findall(r'number">([^<]*)<', row) == ["4", "4", "99.00%"]
    assert answers._needed(np.array([0.99, 0.5, 0.9, 0.985])) == [4, 4]
    assert answers._needed(np.array([0.5])) == [1, 1]
