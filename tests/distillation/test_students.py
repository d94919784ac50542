import pytest
import torch
from conftest import examples_of
from small_classifier import classifier

from fflib.distillation import students, teacher
from fflib.distillation.objective import Objectives
from fflib.distillation.students import DistillationStage, StudentShape
from fflib.files import InputError
from fflib.model import checkpoints, importance, training
from fflib.model.training import Recipe

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
    assert (config.hidden_size, [vars(shape) for shape in config.layers]) == (
        8,
        [{"num_heads": 2, "head_size": 4, "intermediate_size": 12}] * 2,
    )
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


def test_other_examples_are_noticed():
    with pytest.raises(AssertionError):
        students.same_examples(examples_of([4, 5]), examples_of([4, 5, 6]))


def test_stages_follow_each_other_and_a_finished_one_is_not_run_again(tmp_path, monkeypatch):
    monkeypatch.setenv("FFLIB_CACHE", str(tmp_path / "cache"))
    examples, model = examples_of([4 + i % 7 for i in range(48)], seed=5), classifier(4)
    first = DistillationStage(
        "inner",
        Objectives(embedding=1.0, hidden=1.0, attention=1.0),
        Recipe(4, 8, 1e-2, dropout=0.0, evaluations_per_epoch=0),
    )
    second = DistillationStage("logits", Objectives(logits=1.0), Recipe(4, 8, 1e-2, dropout=0.0))
    outputs, fits = teacher.TeacherOutputs(model, examples), []
    fit = training.fit
    monkeypatch.setattr(training, "fit", lambda *arguments: fits.append(1) or fit(*arguments))

    def distance(logits):
        return float((torch.from_numpy(logits).softmax(1) - outputs.logits.softmax(1)).abs().mean())

    def distil(*stages, seed=9):
        return students.distil(
            classifier(2, seed=seed),
            stages,
            outputs,
            examples,
            lambda logits, _: -distance(logits),
            tmp_path / "student",
        )

    student, histories = distil(first, second)
    assert len(fits) == 2 and len(histories) == 2 and histories[0].dev_score == []
    assert distance(training.predict(student, examples)) < 0.5 * distance(
        training.predict(classifier(2, seed=9), examples)
    )

    again, _ = distil(first, second)
    assert len(fits) == 2 and torch.equal(again(IDS).logits, student(IDS).logits)
    distil(first, DistillationStage("logits", Objectives(logits=1.0), Recipe(1, 8, 1e-2)))
    assert len(fits) == 3, "the first stage did not change, so only the second is trained"
    distil(DistillationStage("inner", Objectives(hidden=1.0), first.recipe), second)
    assert len(fits) == 5, "another first stage gives another second"
    distil(DistillationStage("inner", Objectives(hidden=1.0), first.recipe), second, seed=10)
    assert len(fits) == 7, "another start gives another student"
    with pytest.raises(InputError, match="without a stage"):
        distil()


def test_a_source_makes_students_of_the_teacher_or_copies_of_a_named_model(tmp_path):
    tokenizer = checkpoints.load_tokenizer("sentence-transformers/all-MiniLM-L6-v2")
    teacher_model = classifier(4)
    source = students.StudentInit("teacher", teacher_model, tokenizer)
    assert source.candidates(["3x16", "2x16"]) == ["3x16", "2x16"] and not source.named
    same(source.make("2x16@last"), teacher_model, (2, 3))
    same(source.make("2x16@last", start="first"), teacher_model, (0, 1))
    assert source.make("2x16", activation="relu").encoder.config.activation == "relu"
    general = classifier(2, seed=4)
    checkpoints.save(general, tmp_path / "general", tokenizer)
    source = students.StudentInit(str(tmp_path / "general"), teacher_model, tokenizer)
    (name,) = source.candidates(["3x16"])
    first = source.make(name)
    same(first, general, (0, 1))
    first.classifier.weight.data.zero_()
    assert source.make(name).classifier.weight.any(), "students of one source share memory"
