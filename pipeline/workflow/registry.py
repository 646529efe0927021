"""All node types by name."""

from collections.abc import Mapping

from pipeline.workflow.node import NodeType
from pipeline.workflow.nodes.call_http import CALL_HTTP
from pipeline.workflow.nodes.condition import IF
from pipeline.workflow.nodes.copy_data import COPY_DATA
from pipeline.workflow.nodes.emit_event import EMIT_EVENT
from pipeline.workflow.nodes.end import END
from pipeline.workflow.nodes.increment import INCREMENT
from pipeline.workflow.nodes.segments import ADD_SEGMENT, REMOVE_SEGMENT
from pipeline.workflow.nodes.start import START

NODE_TYPES: Mapping[str, NodeType] = {
    "start": START,
    "if": IF,
    "copy-data": COPY_DATA,
    "set-data": COPY_DATA,
    "increment": INCREMENT,
    "add-segment": ADD_SEGMENT,
    "remove-segment": REMOVE_SEGMENT,
    "emit-event": EMIT_EVENT,
    "call-http": CALL_HTTP,
    "end": END,
}
