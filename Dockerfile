# The zoo and the harness in an image. For a GPU, build on a CUDA image and with PyTorch's wheels for it:
#   docker build -t detection-zoo .
#   docker build -t detection-zoo:cuda --build-arg BASE=nvidia/cuda:12.8.1-cudnn-runtime-ubuntu24.04 \
#       --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .
#   docker run --rm -v zoo-cache:/cache -v "$PWD":/work detection-zoo zoo detect faster_rcnn_r50 street.jpg --out drawn
ARG BASE=python:3.12-slim
FROM ${BASE}
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN if ! python3 -c "import ensurepip, venv" 2>/dev/null; then \
        apt-get update && apt-get install --yes --no-install-recommends python3 python3-venv \
        && rm -rf /var/lib/apt/lists/*; \
    fi
ENV PATH=/opt/zoo/bin:$PATH ZOO_CACHE=/cache PYTHONUNBUFFERED=1
RUN python3 -m venv /opt/zoo && pip install --no-cache-dir torch torchvision --index-url ${TORCH_INDEX}
COPY . /src
RUN pip install --no-cache-dir '/src[html,onnx,plots]' && rm -rf /src
# A number, which hosts that forbid root can check, and which no base image has.
RUN useradd --uid 10001 --create-home zoo && mkdir /cache /work && chown zoo /cache /work
USER 10001
VOLUME /cache
WORKDIR /work
CMD ["zoo", "--help"]
