# docker build -t d3g-lfo . && docker run --rm -v "$PWD/demo-report:/d3g-lfo/demo-report" d3g-lfo
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /d3g-lfo
COPY . .
RUN make .venv/.installed
ENV PATH=/d3g-lfo/.venv/bin:$PATH
CMD ["make", "demo"]
