"""An inner value of a network as one more output."""

from hypothesis import given
from hypothesis import strategies as st

from agentd_providers.local.onnx_graph import with_output


def test_the_output_is_a_graph_of_its_own_behind_the_model():
    # onnx.proto: ModelProto.graph = 7, GraphProto.output = 12, ValueInfoProto.name = 1, each with its length
    assert with_output(b"model", "ab") == b"model" + b"\x3a\x06" + b"\x62\x04" + b"\x0a\x02ab"


@given(st.binary(max_size=20), st.text(min_size=1, max_size=400))
def test_the_model_itself_is_left_as_it_was(model, name):
    found = with_output(model, name)
    assert found.startswith(model)
    assert found.endswith(name.encode())
