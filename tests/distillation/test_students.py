import pytest
import torch
from conftest import examples_of
from small_classifier import classifier

from fflib.distillation import students
from fflib.distillation.students import StudentShape
from fflib.files import InputError
from fflib.model import checkpoints, importance
from fflib.model.config import LayerShape

IDS = torch.tensor([[5, 9, 30, 7], [8, 8, 1, 2]])


def same(ours, theirs, layer_of):
    """Assert that each layer of a student is the named layer (from 0) of its teacher."""
    for m, g in enumerate(layer_of):
        for name, weight in ours.encoder.layers[m].state_dict().items():
            assert torch.equal(weight, theirs.encoder.layers[g].state_dict()[name]), (m, name)


@pytest.mark.parametrize(
    ("start", "layers"), [("first", (0, 1)), ("last", (2, 3)), ("uniform", (1, 3)), ("1,4", (0, 3))]
)
def test_a_student_of_full_width_is_made_of_its_teachers_layers(start, layers):
    teacher = classifier(4)
    student = students.from_teacher(teacher, StudentShape(2, 16, start))
    same(student, teacher, layers)
    assert torch.equal(student.classifier.weight, teacher.classifier.weight)
    student.encoder.pooler.weight.data.zero_()
    assert teacher.encoder.pooler.weight.any(), "student and teacher share memory"


def test_a_student_of_all_layers_is_its_teacher():
    teacher = classifier(3)
    student = students.from_teacher(teacher, StudentShape(3, 16))
    assert torch.equal(student(IDS).logits, teacher(IDS).logits)


def test_a_narrower_student_keeps_the_most_important_units_of_every_kind():
    teacher = classifier(4, heads=4)
    scores = importance.random(teacher, seed=3)
    student = students.from_teacher(teacher, StudentShape(2, 8, "last"), scores)
    config = student.encoder.config
    assert (config.hidden_size, config.layers) == (8, (LayerShape(2, 4, 12),) * 2)
    units = scores.hidden.argsort(descending=True)[:8].sort().values
    neurons = scores.neurons[2].argsort(descending=True)[:12].sort().values
    theirs, ours = teacher.encoder.layers[2].feed_forward, student.encoder.layers[0].feed_forward
    assert torch.equal(ours.intermediate.weight, theirs.intermediate.weight[neurons][:, units])
    assert torch.equal(student.encoder.embeddings.word.weight, teacher.encoder.embeddings.word.weight[:, units])
    assert student(IDS).logits.shape == (2, 2)


def test_relu_in_place_of_gelu_keeps_the_weights_and_changes_the_answers():
    teacher = classifier(2)
    student = students.from_teacher(teacher, StudentShape(2, 16), activation="relu")
    same(student, teacher, (0, 1))
    assert student.encoder.config.activation == "relu" and teacher.encoder.config.activation == "gelu"
    assert not torch.allclose(student(IDS).logits, teacher(IDS).logits)


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        (StudentShape(5, 16), "5 layers, the teacher only 4"),
        (StudentShape(2, 32), "wider than its teacher"),
        (StudentShape(2, 2), "without a head"),
    ],
)
def test_a_student_that_cannot_be_is_refused(shape, says):
    with pytest.raises(InputError, match=says):
        students.from_teacher(classifier(4), shape)


def test_shapes_are_read():
    assert StudentShape.parse("3x384") == StudentShape(3, 384, "first")
    assert StudentShape.parse("2x8@2,3") == StudentShape(2, 8, "2,3")
    for text in ("3", "3x", "x384", "0x384", "3x38.4", "axb", "3x384x2"):
        with pytest.raises(InputError, match="LAYERSxHIDDEN"):
            StudentShape.parse(text)


def test_a_student_of_another_vocabulary_is_refused_unless_only_logits_are_compared(tmp_path):
    tokenizer = checkpoints.load_tokenizer("sentence-transformers/all-MiniLM-L6-v2")
    checkpoints.save(classifier(2), tmp_path / "same", tokenizer)
    students.from_checkpoint(str(tmp_path / "same"), 2, tokenizer)
    other = checkpoints.load_tokenizer("sentence-transformers/all-MiniLM-L6-v2")
    other.add_tokens(["unheard-of"])
    with pytest.raises(InputError, match="other tokens than its teacher"):
        students.from_checkpoint(str(tmp_path / "same"), 2, other)
    student, _ = students.from_checkpoint(str(tmp_path / "same"), 2, other, logits_only=True)
    assert len(student.encoder.layers) == 2


def test_a_missing_student_is_told():
    tokenizer = checkpoints.load_tokenizer("sentence-transformers/all-MiniLM-L6-v2")
    with pytest.raises(InputError, match="no/such-folder"):
        students.from_checkpoint("./no/such-folder", 2, tokenizer)


def test_students_are_made_of_the_teacher_or_copies_of_a_named_model(tmp_path):
    tokenizer = checkpoints.load_tokenizer("sentence-transformers/all-MiniLM-L6-v2")
    teacher_model = classifier(4)
    init = students.StudentInit("teacher", teacher_model, tokenizer)
    assert init.candidates(["3x16", "2x16"]) == ["3x16", "2x16", "teacher"] and not init.named
    assert init.candidates(["2x16", "teacher"]) == ["2x16", "teacher"] and init.make("teacher") is teacher_model
    with pytest.raises(InputError, match="names no student to try; name one, such as"):
        init.candidates(["teacher"])
    same(init.make("2x16@last"), teacher_model, (2, 3))
    same(init.make("2x16@last", start="first"), teacher_model, (0, 1))
    assert init.make("2x16", activation="relu").encoder.config.activation == "relu"
    general = classifier(2, seed=4)
    checkpoints.save(general, tmp_path / "general", tokenizer)
    init = students.StudentInit(str(tmp_path / "general"), teacher_model, tokenizer)
    name, last = init.candidates(["3x16"])
    assert last == "teacher" and init.make(last) is teacher_model
    first = init.make(name)
    same(first, general, (0, 1))
    first.classifier.weight.data.zero_()
    assert init.make(name).classifier.weight.any(), "students of one start share memory"


def test_a_narrower_student_keeps_what_matters_on_the_texts_or_else_what_is_large(monkeypatch):
    teacher_model, texts = classifier(4, heads=4), examples_of([4, 6, 5, 7] * 3)
    monkeypatch.setattr(students, "RANKING_TEXTS", 8)
    scores = importance.first_order(importance.gradients(teacher_model, texts.take(range(8))))
    for given, expected in ((texts, scores), (None, importance.magnitude(teacher_model))):
        made = students.StudentInit("teacher", teacher_model, None, texts=given).make("2x8@last")
        by_hand = students.from_teacher(teacher_model, StudentShape(2, 8, "last"), expected)
        assert torch.equal(made(IDS).logits, by_hand(IDS).logits)
    assert not torch.equal(scores.hidden.argsort(), importance.magnitude(teacher_model).hidden.argsort())
