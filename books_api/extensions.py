"""The extensions: made here, bound to an application in create_app()."""

from typing import Any

from flask import Flask, current_app
from flask_cors import CORS
from flask_jwt_extended import JWTManager
from flask_migrate import Migrate
from flask_smorest import Api
from flask_sqlalchemy import SQLAlchemy
from redis import Redis as RedisClient
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    """Names constraints, so that a migration can name them too."""

    __mapper_args__ = {"eager_defaults": True}  # what the server computes comes with RETURNING
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def extension(name: str) -> Any:
    """Return what the current application has by the name: its proxy costs four times as much."""
    return current_app._get_current_object().extensions[name]  # type: ignore[attr-defined]  # of a proxy


class Redis:
    """One Redis client for each application, in app.extensions["redis"]."""

    def init_app(self, app: Flask, client: RedisClient) -> None:
        app.extensions["redis"] = client

    @property
    def client(self) -> RedisClient:
        """The current application's client."""
        client: RedisClient = extension("redis")
        return client


db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})
migrate = Migrate()
jwt = JWTManager()
redis = Redis()
api = Api()
cors = CORS()
