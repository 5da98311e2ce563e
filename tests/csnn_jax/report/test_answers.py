import re
from dataclasses import replace

import numpy as np

from csnn_jax.document import html
from csnn_jax.report import answers, measure


def shown(one, measurements) -> str:
    return html.blocks(answers.answers(one, measurements))


def test_the_matrix_and_the_mistakes_match_the_answers(measured):
    one, measurements = measured
    text, labels = shown(one, measurements), measurements.split.labels
    cells = [int(cell) for cell in re.findall(r'class="cell[^>]*>(\d+)<', text)]
    np.testing.assert_array_equal(np.reshape(cells, (10, 10)), measurements.result.confusion)
    wrong = np.flatnonzero(measurements.scores.argmax(1) != labels)
    assert f"{len(wrong)} images are misclassified" in text
    for index in measure.mistakes(labels, measurements.scores)[:12]:
        label, answer = labels[index], measurements.scores[index].argmax()
        own, highest = measurements.scores[index, [label, answer]]
        numbers = f"{own:.2f} vs. {highest:.2f}" if one.sums_membranes else f"{own} vs. {highest} spikes"
        assert f"<strong>{label} classified as {answer}</strong>, {numbers} (image {index})" in text
    assert text.count("<svg") == min(12, len(wrong))


def test_the_scores_of_a_mistake_are_listed_but_not_those_of_zero(measured):
    one, measurements = measured
    scores = np.array([[3, -1, 0.5, *[0] * 7]], np.float32)
    mistake = answers._mistake(replace(measurements, scores=scores, split=measurements.split), 0, one)
    assert mistake.description.endswith(", 0: 3.00, 1: -1.00, 2: 0.50")
    assert [score for _, score, _ in mistake.scores] == scores[0].tolist()


def test_many_classes_are_a_chart(measured):
    one, measurements = measured
    many = replace(one.dataset, names=tuple(map(str, range(30))))
    wide = replace(measurements, scores=np.pad(measurements.scores, ((0, 0), (0, 20))))
    model = replace(one.config.model, num_classes=30)
    text = shown(replace(one, dataset=many, config=replace(one.config, model=model)), wide)
    assert '"heatmap"' in text and 'class="cell' not in text


def test_the_number_of_steps_needed(measured):
    one, measurements = measured
    by_step = np.array([0.1, 0.985, 0.97, 0.9895, 0.99, 0.99])
    _, table = answers.steps([(one, replace(measurements, by_step=by_step))])
    assert table.rows == [[one.name, 4, 4, "99.00%"]]
    assert answers._needed(np.array([0.99, 0.5, 0.9, 0.985])) == [4, 4]
    assert answers._needed(np.array([0.5])) == [1, 1]
