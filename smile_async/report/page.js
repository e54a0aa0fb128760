(()=>{const find=document.getElementById('find'),end=document.getElementById('end');
const rows=[...document.querySelectorAll('#rows tbody tr')],count=document.getElementById('count');
const texts=rows.map(row=>row.textContent.toLowerCase());
const sift=()=>{const word=find.value.trim().toLowerCase();let shown=0;
rows.forEach((row,i)=>{const on=(!end.value||row.dataset.end===end.value)&&texts[i].includes(word);
row.hidden=!on;shown+=on});count.textContent=shown===rows.length?'':shown.toLocaleString()+' match'};
find.addEventListener('input',sift);end.addEventListener('change',sift)})();
