"""A checkpoint that is fine-tuned already: its own head, in the task's order of classes, or a clear refusal."""

import json

import little_superglue
import numpy as np
import pytest
import torch
import transformers
from conftest import examples_of

from fflib.data import metrics
from fflib.data.registry import get_task
from fflib.files import InputError
from fflib.model import checkpoints, pretuned, training

CB, DOCS = get_task("CB"), get_task("docs")


def save_stock(folder, labels, seed=0, kind="BertForSequenceClassification"):
    """Write a stock checkpoint as transformers does, with its tokenizer."""
    torch.manual_seed(seed)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    names = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
    model = getattr(transformers, kind)(transformers.BertConfig(vocab_size=113, **sizes, **(names if labels else {})))
    for parameter in model.parameters():
        parameter.data.normal_(std=0.3)
    model.save_pretrained(folder)
    little_superglue.tokenizer().save_pretrained(folder)
    return model.eval(), str(folder)


def logits_of(model, inputs):
    with torch.no_grad():
        return model(**inputs).logits


INPUTS = {"input_ids": torch.arange(5, 13)[None], "attention_mask": torch.ones(1, 8, dtype=torch.long)}


@pytest.mark.parametrize(
    "labels", [("neutral", "Entailment", "CONTRADICTION"), ("entailment", "contradiction", "neutral")]
)
def test_its_classes_are_put_in_the_task_s_order(tmp_path, labels):
    stock, folder = save_stock(tmp_path / "tuned", labels)
    order = [[label.lower() for label in labels].index(label) for label in CB.labels]
    expected = logits_of(stock, INPUTS)[:, order]
    torch.testing.assert_close(logits_of(pretuned.load(folder, CB), INPUTS), expected, atol=1e-4, rtol=0)


def test_classes_without_names_stay_as_they_are(tmp_path):
    stock, folder = save_stock(tmp_path / "tuned", ())
    torch.testing.assert_close(
        logits_of(pretuned.load(folder, DOCS), INPUTS), logits_of(stock, INPUTS), atol=1e-4, rtol=0
    )


def test_other_classes_and_other_numbers_of_them_are_refused(tmp_path):
    _, folder = save_stock(tmp_path / "mood", ("angry", "sad", "glad"))
    with pytest.raises(
        InputError, match="names its classes angry, sad, glad, the task entailment, contradiction, neutral"
    ):
        pretuned.load(folder, CB)
    with pytest.raises(InputError, match="is no classifier of 2 classes, so it cannot be taken as it is; set epochs"):
        pretuned.load(folder, DOCS)
    _, general = save_stock(tmp_path / "general", (), kind="BertForMaskedLM")
    with pytest.raises(InputError, match="is no classifier of 2 classes"):
        pretuned.load(general, DOCS)


def test_a_model_of_ours_is_taken_with_its_head(tmp_path):
    teacher = little_superglue.save_teacher(tmp_path / "ours")
    model = pretuned.load(str(teacher), DOCS)
    assert torch.equal(model.classifier.weight, checkpoints.load(teacher).classifier.weight)


def test_it_is_kept_as_a_trained_one_is_with_its_score_on_dev(tmp_path):
    _, folder = save_stock(tmp_path / "tuned", ("no", "yes"))
    dev = examples_of([5, 9, 12, 7] * 6)

    def score(logits, gold):
        return metrics.score(DOCS, logits, gold)

    copy = tmp_path / "models" / "teacher-0"
    model, history = pretuned.take(folder, DOCS, copy, checkpoints.load_tokenizer(folder), dev, score)
    assert history.best_score == score(training.predict(model, dev), dev.gold) == history.dev_score[0][1]
    np.testing.assert_array_equal(training.predict(checkpoints.load(copy), dev), training.predict(model, dev))
    assert json.loads((copy / "config.json").read_text())["num_labels"] == 2
