import pytest
import torch


@pytest.fixture
def encoder():
    from userbench.model.encoder import EncoderConfig, UserEncoder

    torch.manual_seed(0)
    return UserEncoder(EncoderConfig(n_items=20, dim=8, max_length=6), dropout=0.1)


def test_warm_start_loads_all_but_what_was_never_trained(encoder, tmp_path):
    """After masked item prediction exactly one tensor, the pooling query, is new."""
    from userbench.method import PretrainMethod, TrainingConfig
    from userbench.model.encoder import EncoderConfig, UserEncoder
    from userbench.training.checkpoint import epoch_of, load, save, start_from, trained_tensors

    method = PretrainMethod(encoder, TrainingConfig())
    method.bias = torch.nn.Parameter(torch.ones(3))  # what a method trains beside its encoder
    items = torch.tensor([[1, 2, 21, 4]])  # 21 is the mask
    (encoder.hidden(items).sum() + method.bias.sum()).backward()
    path = tmp_path / "epoch3.safetensors"
    save(path, trained_tensors(method), {"seed": 0}, epoch=3)
    torch.manual_seed(1)
    other = UserEncoder(EncoderConfig(n_items=20, dim=8, max_length=6), dropout=0.5)
    query = other.pooling.query.detach().clone()
    assert start_from(other, path) == ["pooling.query"]
    for name, value in other.named_parameters():
        assert torch.equal(value, query if name == "pooling.query" else encoder.get_parameter(name))
    assert load(path)["method.bias"].tolist() == [1, 1, 1]
    assert epoch_of(path) == 3
    again = tmp_path / "again.safetensors"
    save(again, trained_tensors(method), {"seed": 0}, epoch=3)
    assert again.read_bytes() == path.read_bytes()


def test_damage_is_found(encoder, tmp_path):
    """A truncated file and a flipped bit must stop the run, naming the file and the remedy."""
    from userbench.training.checkpoint import load, save

    path = tmp_path / "epoch1.safetensors"
    save(path, dict(encoder.state_dict()), {}, epoch=1)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(ValueError, match=r"epoch1.safetensors: .* run the workflow again"):
        load(path)
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ValueError, match="checksum differs"):
        load(path)
    with pytest.raises(FileNotFoundError, match=r"absent\.safetensors"):
        load(tmp_path / "absent.safetensors")


def test_another_encoder_is_refused(encoder, tmp_path):
    from userbench.model.encoder import EncoderConfig, UserEncoder
    from userbench.training.checkpoint import save, start_from

    path = tmp_path / "epoch1.safetensors"
    save(path, dict(encoder.state_dict()), {}, epoch=1)
    wider = UserEncoder(EncoderConfig(n_items=21, dim=8, max_length=6), dropout=0.1)
    with pytest.raises(ValueError, match="items.weight"):
        start_from(wider, path)
    unknown = tmp_path / "epoch2.safetensors"
    save(unknown, {"adapter": torch.zeros(1)}, {}, epoch=2)
    with pytest.raises(ValueError, match="adapter"):
        start_from(encoder, unknown)
