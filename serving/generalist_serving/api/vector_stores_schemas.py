"""What ``/v1/vector_stores`` takes and gives: OpenAI's shapes, and our own fields in them.

A store is an index, a file is a document.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, WithJsonSchema

from generalist.documents import MODES
from generalist.documents.asking import Granularity
from generalist_serving.api.fields import WHOLE, ImageUrl, Only, Strict, VisualPrompts
from generalist_serving.api.hits import SearchHit

MOST_HITS = 50
"""Of one search, as OpenAI has it."""


def _check_mode(name: str) -> str:
    if name not in MODES:
        raise ValueError(f"there is no such mode; use one of {', '.join(MODES)}")
    return name


QueryText = Annotated[str, Field(min_length=1, max_length=100_000)]
Mode = Annotated[str, AfterValidator(_check_mode), WithJsonSchema({"type": "string", "enum": list(MODES)})]
MaxResults = Annotated[int, Field(ge=1, le=MOST_HITS), WHOLE]
NO_ATTRIBUTES = "the documents of an index have no attributes to filter by"

# --- stores ----------------------------------------------------------------------------------------------


class FileCounts(BaseModel):
    """The documents of a store."""

    cancelled: int = 0
    completed: int
    failed: int = 0
    in_progress: int = 0
    total: int


class VectorStore(BaseModel):
    """An index of documents."""

    id: str
    object: Literal["vector_store"] = "vector_store"
    name: str
    status: Literal["completed"] = "completed"
    created_at: int = Field(description="When it was last changed, in seconds since 1970.")
    usage_bytes: int = Field(description="On disk.")
    file_counts: FileCounts
    metadata: dict[str, str] = Field(default={}, description="`base`: the model whose tokens it is in.")
    expires_after: None = None
    expires_at: None = None
    last_active_at: int | None = None
    modes: list[str] = Field(description="How it can be searched; the first is the default.")
    images: bool = Field(description="Whether a question may be about an image.")


class VectorStoreList(BaseModel):
    """The stores of this server."""

    object: Literal["list"] = "list"
    data: list[VectorStore]
    first_id: str | None
    last_id: str | None
    has_more: bool


# --- searches --------------------------------------------------------------------------------------------


class RankingOptions(Strict):
    """Which hits count."""

    ranker: Literal["none", "auto", "default-2024-11-15"] | None = Field(
        default=None, description="Accepted for OpenAI's clients; changes nothing here."
    )
    score_threshold: Annotated[float, Field(ge=0)] | None = Field(
        default=None, description="Leave out hits with a smaller `score`."
    )
    hybrid_search: Annotated[Any, Only(None)] = None


class VectorStoreSearch(Strict):
    """OpenAI's request, with `mode`, `find`, `feedback`, `image` and `visual_prompts`."""

    query: QueryText | Annotated[list[QueryText], Field(min_length=1, max_length=64)] = Field(
        description="What to find; with several, hits are ranked by their ranks for each (reciprocal-rank fusion)."
    )
    max_num_results: MaxResults | None = Field(default=None, description="10 by default.")
    ranking_options: RankingOptions | None = None
    filters: Annotated[Any, Only(None, reason=NO_ATTRIBUTES)] = None
    rewrite_query: Annotated[Any, Only(None, False)] = None

    # Ours.
    mode: Mode | None = Field(
        default=None,
        description="`lexical`: BM25. `generative`: identifiers that the index's model writes. `hybrid`: both, as far "
        "as identifiers proved right. By default the first of the store's `modes`, or what can `find` it.",
    )
    find: Granularity = Field(
        default="document", description="What a hit is; an entity is a document named by its title."
    )
    feedback: bool = Field(default=False, description="Look for words again, with those of what was found first.")
    image: ImageUrl | None = Field(default=None, description="What the question is about; see the store's `images`.")
    visual_prompts: VisualPrompts | None = None


class SearchPage(BaseModel):
    """Hits, the best first."""

    object: Literal["vector_store.search_results.page"] = "vector_store.search_results.page"
    search_query: list[str]
    data: list[SearchHit]
    has_more: Literal[False] = False
    next_page: None = None
