const [spec, introduction] = await Promise.all([
  fetch("/openapi.json").then((answer) => answer.json()),
  fetch("/docs/introduction.md").then((answer) => answer.text()),
]);
// The examples name the address of `make run`; to be pasted, they need this one.
spec.info.description = introduction.replaceAll("http://localhost:8000", location.origin);
// Swagger UI would send the examples of all parameters at once.
const parts = Object.values(spec.paths).flatMap((item) => [item, ...Object.values(item)]);
const parameters = parts.flatMap((part) => part.parameters ?? []);
for (const parameter of [...parameters, ...Object.values(spec.components.parameters)]) {
  delete parameter.example;
  delete parameter.schema?.examples;
}

SwaggerUIBundle({
  spec,
  dom_id: "#swagger-ui",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  persistAuthorization: false,
  validatorUrl: null,
});
document.getElementById("authorize").onclick = () => {
  document.querySelector(".scheme-container .authorize").click();
};

function addToContents(text, target) {
  const link = document.createElement("a");
  link.href = `#${target.id}`;
  link.textContent = text;
  link.onclick = (event) => {  // the fragment is Swagger UI's, for operations
    event.preventDefault();
    target.scrollIntoView();
  };
  document.getElementById("contents").append(link);
}

function fillContents() {
  const tags = document.querySelectorAll(".opblock-tag");
  if (!tags.length) {  // Swagger UI is still drawing
    requestAnimationFrame(fillContents);
    return;
  }
  for (const heading of document.querySelectorAll(".info .renderedMarkdown h2")) {
    heading.id = heading.textContent.toLowerCase().replaceAll(" ", "-");
    addToContents(heading.textContent, heading);
  }
  for (const tag of tags) {
    addToContents(`Operations: ${tag.dataset.tag}`, tag);
  }
}
fillContents();
