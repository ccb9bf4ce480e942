/** Lets an image be dropped or pasted on the form that asks for one. */
const form = document.querySelector('form.drop');
const input = form?.querySelector('input[type=file]');

/** @param {DataTransfer | null} data */
function take(data) {
  if (!data?.files.length || !(form instanceof HTMLFormElement) || !(input instanceof HTMLInputElement)) return;
  input.files = data.files;
  form.requestSubmit();
}

document.documentElement.classList.add('scripted');
for (const type of ['dragenter', 'dragover', 'dragleave', 'drop']) {
  document.addEventListener(type, (event) => {
    event.preventDefault();
    form?.classList.toggle('over', type === 'dragenter' || type === 'dragover');
    if (type === 'drop' && event instanceof DragEvent) take(event.dataTransfer);
  });
}
document.addEventListener('paste', ({ clipboardData }) => take(clipboardData));
